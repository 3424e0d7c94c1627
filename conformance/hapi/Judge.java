import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.context.support.IValidationSupport.IssueSeverity;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.SingleValidationMessage;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.PrePopulatedValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirDefaultPolicyAdvisor;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.r5.utils.validation.IResourceValidator;
import org.hl7.fhir.r5.utils.validation.constants.ReferenceValidationPolicy;
import org.hl7.fhir.utilities.npm.NpmPackage;

/**
 * What HAPI's validator says of each resource of a file: Judge RELEASE PACKAGE|- IN OUT THREADS.
 *
 * One JSON object per line. In: id, text (the resource, JSON or XML). Out, in the same order: id, rejects, messages.
 */
public class Judge {
  public static void main(String[] arguments) throws Exception {
    FhirContext context = arguments[0].equals("R5") ? FhirContext.forR5() : FhirContext.forR4();
    FhirValidator validator = validator(context, arguments[1]);
    List<Callable<String>> tasks = new ArrayList<>();
    for (String line : Files.readAllLines(Path.of(arguments[2]))) {
      tasks.add(() -> judged(validator, line));
    }
    var pool = Executors.newFixedThreadPool(Integer.parseInt(arguments[4]));
    try (var out = Files.newBufferedWriter(Path.of(arguments[3]))) {
      for (Future<String> told : pool.invokeAll(tasks)) {
        out.write(told.get() + "\n");
      }
    } finally {
      pool.shutdown();
    }
  }

  static FhirValidator validator(FhirContext context, String packageFile) throws Exception {
    PrePopulatedValidationSupport own = new PrePopulatedValidationSupport(context);
    if (!packageFile.equals("-")) {
      try (var file = Files.newInputStream(Path.of(packageFile))) {
        NpmPackage loaded = NpmPackage.fromPackage(file);
        for (String name : loaded.listResources("StructureDefinition", "ValueSet", "CodeSystem", "SearchParameter", "ConceptMap")) {
          String text = new String(loaded.loadResource(name).readAllBytes(), StandardCharsets.UTF_8);
          own.addResource(context.newJsonParser().parseResource(text));
        }
      }
    }
    UnknownCodeSystemWarningValidationSupport unknown = new UnknownCodeSystemWarningValidationSupport(context);
    unknown.setNonExistentCodeSystemSeverity(IssueSeverity.WARNING);
    FhirInstanceValidator instances = new FhirInstanceValidator(new ValidationSupportChain(
        own,
        new DefaultProfileValidationSupport(context),
        new InMemoryTerminologyServerValidationSupport(context),
        new CommonCodeSystemsTerminologyService(context),
        new SnapshotGeneratingValidationSupport(context),
        unknown));
    instances.setValidatorPolicyAdvisor(new FhirDefaultPolicyAdvisor() {
      @Override
      public ReferenceValidationPolicy policyForReference(
          IResourceValidator validator, Object host, String path, String url, ReferenceDestinationType kind) {
        return ReferenceValidationPolicy.CHECK_TYPE_IF_EXISTS;
      }
    });
    instances.setValidatorResourceFetcher(Elsewhere.fetcher());
    FhirValidator validator = context.newValidator();
    validator.registerValidatorModule(instances);
    return validator;
  }

  private static String judged(FhirValidator validator, String line) throws Exception {
    return Told.of(line, (text, told) -> {
      for (SingleValidationMessage each : validator.validateWithResult(text).getMessages()) {
        boolean isError = each.getSeverity().ordinal() >= ResultSeverityEnum.ERROR.ordinal();
        told.add(isError, each.getSeverity().getCode(), each.getMessageId(), each.getLocationString(), each.getMessage());
      }
    });
  }
}
